"""The programs in `examples/`: what is prebuilt, and what a person is shown."""
