"""The one exception that every layer raises for bad input."""


class UserError(ValueError):
    """Something the user gave cannot be used.

    The message is one line: what was wrong, the value, the limit and why, and the mend.
    The command line prints it without a traceback and exits with code 2.
    """
