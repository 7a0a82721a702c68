"""The one exception for input that a user can mend."""


class InputError(ValueError):
    """Bad input: a file, a field or an option, what was found there and what to do.

    Command-line programs print the message alone and exit with code 2; nothing has been written by then.
    """
