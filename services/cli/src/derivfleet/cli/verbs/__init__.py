"""The commands: what each takes, and its help.

To show help, a command must not load what it works with. So these modules import only typer, and a command imports
the rest when it is called.
"""
