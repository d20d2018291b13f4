"""The page of likely label errors, on which a user marks what to do with each photo.

Safe to change: `page` (its values), and templates/label_errors.html with the script next to it.
Invariants: the page needs no server and no network; the script is ours alone, and the page's policy names it by its digest.
To add one: a value of a photo is a field of `ShownError`.
"""
