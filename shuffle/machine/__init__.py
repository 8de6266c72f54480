"""What runs the program: kernel, file systems, cores, threads, reading ahead."""
