"""The one exception for input that a user can mend."""


class InputError(ValueError):
    """Bad input: a file, a field or an option, what was found there and what to do.

    Command-line programs print the message alone and exit with code 2; nothing has been written by then.
    """


def one_line(error: Exception) -> str:
    """What an exception says, in one line; of a traceback inside its text only the end."""
    said = error.strerror if isinstance(error, OSError) else None  # the first argument is a number
    text = str(said or (error.args[0] if error.args else error))
    if "Traceback" in text:
        text = text.strip().splitlines()[-1].partition(": ")[2]
    words = text.replace("\\n", " ").replace("\\'", "'").split()
    return " ".join(words).removeprefix("'")
