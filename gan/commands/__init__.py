"""The verbs of `gan VERB`."""
