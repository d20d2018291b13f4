"""Photos in a folder: all that a prediction should answer for."""

from pathlib import Path

from allmlp.data import Listing, list_folder, unnamed_photos, unread_photos
from allmlp.errors import DataError
from allmlp.io.display import Report, discard, escape

__all__ = ["photos_in_folder"]


def photos_in_folder(folder: Path, *, listing: Listing | None = None, report: Report = discard) -> list[str]:
    """Return the paths of all photos in a folder and its sub-folders, sorted; hidden ones are left out.

    Photos in formats that are not read are among them: the decoder says why it does not read them. `report` receives a line
    for each entry that could not be listed. `listing` is that of the folder, if it was listed before.

    Raises:
        DataError: no photos, or a folder that cannot be read.
    """
    listing = list_folder(folder) if listing is None else listing
    for path, reason in listing.skipped:
        report(f"{escape(folder / path)}: skipped: {reason}.")
    photos = listing.photos + unread_photos(listing) + unnamed_photos(folder, listing)
    if not photos:
        raise DataError(f"{escape(folder)}: no photos in this folder.")
    return sorted(str(folder / path) for path in photos)
