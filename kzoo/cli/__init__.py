"""The `kzoo` command: all that parses words and prints; nothing else in kzoo imports it."""


def main() -> None:
    """Run the command that `sys.argv` holds."""
    from kzoo.cli import app

    app.main()
