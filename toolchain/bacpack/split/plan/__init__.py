"""Which functions become one, in which module, and what stands for each operand."""
