"""Files and directories as blocks: read, written, followed by path."""
