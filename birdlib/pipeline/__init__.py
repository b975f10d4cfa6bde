"""The chain as a whole: run it, report it, package it, measure it."""
