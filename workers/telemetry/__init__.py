"""What a worker tells of itself: a closed list of names, and where the numbers go."""
