"""Answers for recordings of your own: species over time, counts of films."""
