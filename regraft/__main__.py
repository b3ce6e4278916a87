"""`python -m regraft`, where the command `regraft` is not on the path."""

from regraft.cli.main import main

main()
