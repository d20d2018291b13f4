"""Pages with heat maps: of explained photos, and of classes on average.

Safe to change: `folder` (what `allmlp predict --explain` writes), with templates/explanations.html.
Invariants: the page needs no network and no script; every name is escaped; memory does not grow with the number of photos.
To add one: a picture of a photo is an entry in `folder._pictures`; `class_maps` has those of classes.
"""
