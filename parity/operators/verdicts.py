"""The verdicts on a case, and what each means."""

MEANINGS = {
    "right": "the expected values, within rounding",
    "imprecise": "further from them than rounding explains, by at most 1e-2 of the largest value",
    "unstable": "values or failures that change: with what the process's memory held before, or"
    " when the network runs again",
    "different": "other values, and no error",
    "other shape": "an output of another shape, and no error",
    "refused": "an error that says so, when the file is read or run",
    "hangs": "no answer within the limit of time",
    "crashed": "the end of the process",
    "not applicable": "OpenCV cannot be asked: its Python binding does not take such values, or the"
    " answer is random",
}
VERDICTS = tuple(MEANINGS)
SILENT = ("imprecise", "unstable", "different", "other shape")  # wrong without an error
WRONG = (*SILENT, "refused", "hangs", "crashed")
