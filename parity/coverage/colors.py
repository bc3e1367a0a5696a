"""The colour of each verdict of `make coverage`."""

# The palette of Okabe and Ito; the two silent failures have the loudest colours.
COLORS = {
    "same": "#cfe8dc",
    "vacuous": "#dddddd",
    "imprecise": "#2fb08a",
    "not exportable": "#b8b8b8",
    "refused": "#f0e442",
    "timeout": "#e69f00",
    "crashed": "#56b4e9",
    "unstable": "#cc79a7",
    "different": "#d55e00",
}
