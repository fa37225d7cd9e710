"""A neural sparsity layer or encoder, held against the certified reference."""
