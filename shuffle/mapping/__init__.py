"""What a map task is made of: rows in partition order, blocks of them, spills; ``map_writer`` directs it."""
