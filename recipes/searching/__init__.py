"""The search for good options: trials that are Runs, judged on validation.

What is tried is proposed by an oracle of KerasTuner. It keeps no state of its own on the disk: with the same seed and
the same results it proposes the same trials, so a search that goes on reads those that are finished, and goes through
the rest.
"""
