"""Recipe to image: the plan of its steps, what each of them does, and the walk over them against the store."""
