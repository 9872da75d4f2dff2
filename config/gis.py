"""Geography, which Tenantry doesn't use, is kept from slowing every start down."""

from django.core.exceptions import ImproperlyConfigured


class NoLibrary:
    """The path of a library that is known not to be there.

    django-mongodb-backend tries django.contrib.gis three times, and each time that looks for GDAL under twelve names by
    starting ldconfig, gcc and ld: half a second of processor time for each process. This is the answer at once.
    """

    def __fspath__(self) -> str:
        raise ImproperlyConfigured("Set GDAL_LIBRARY_PATH to use geography.")
