"""Discovery: what stands in the networks of a site, asked gently and nowhere else."""
