"""The folded core: any network on P lanes, one input a clock."""
