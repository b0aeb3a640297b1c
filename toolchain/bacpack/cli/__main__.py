"""`python -m bacpack.cli`: the same as the `bacpack` command."""

from bacpack.cli.commands import main

main()
