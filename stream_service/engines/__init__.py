"""What hears and answers: each engine stands behind the same port."""
