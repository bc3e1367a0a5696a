"""The pages in HTML: the report of a run and the zoo's, each one file that needs no network.

Not here: what a page shows is measured and judged elsewhere (evaluation/, coverage/, faults/).
Begin with `write_report` in page.py; templates/ has the markup, the style and the scripts.
"""
