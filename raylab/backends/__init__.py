"""How the three expensive steps of a round are computed: with Ray, or in one process."""
