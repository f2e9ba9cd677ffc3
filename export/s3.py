"""S3 as fsspec has its file systems, by obstore."""

from pathlib import Path

from obstore.exceptions import AlreadyExistsError
from obstore.fsspec import FsspecStore


class S3(FsspecStore):
    """obstore's file system, but one that does not overwrite what it is asked to create.

    Who asks, and where the store is, is read from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
    AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL. On a machine of AWS the role that it has is enough. An object is
    written in one request, in which S3 takes up to 5 GB.
    """

    protocol = "s3"

    def __init__(self, **options):
        # a request may take half a minute by default, and a large object longer
        super().__init__(client_options={"timeout": "1h", "allow_http": True}, **options)

    async def _put_file(self, lpath: str, rpath: str, mode: str = "overwrite", **kwargs) -> None:
        bucket, key = self._split_path(rpath)
        try:
            await self._construct_store(bucket).put_async(key, Path(lpath), mode=mode)
        except AlreadyExistsError as error:
            raise FileExistsError(rpath) from error
