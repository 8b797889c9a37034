"""Functions that are called once for each of their arguments, where building anew is not tested."""


def once(function):
    """`function` with a memory; `progress` is passed over, as what is there makes none."""
    results = {}

    def call(*arguments, progress=None, **options):
        key = (*map(str, arguments), str(sorted(options.items())))
        if key not in results:
            results[key] = function(*arguments, **options)
        return results[key]

    return call
