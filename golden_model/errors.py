"""The one exception that every layer raises for bad input."""


class UserError(ValueError):
    """Something the user gave cannot be used.

    The message is one line: the fault, the value, the limit and why, and the cure.
    The command line prints it without a traceback and exits with code 2.
    """

    rule: str = ""
    """Name of the row (golden_model.rules.Rule) that refused it; empty where no row did."""
