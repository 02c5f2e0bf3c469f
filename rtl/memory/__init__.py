"""Sample memories and the units that read records from them."""
