"""Looking into files: sizes, soundness, differences, losses. Nothing here prints; the commands do."""
