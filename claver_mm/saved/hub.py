"""A saved recogniser on the Hugging Face hub, by huggingface_hub's own means.

Pure: imports huggingface_hub and nothing of ``mm*``.
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ..towers.pretrained import CONFIG as CONFIG_OF_TOWER
from ..towers.pretrained import HUB
from .folder import ALL, CONFIG, is_saved

Token = bool | str | None


def download(reference: str, *, revision: str | None = None, cache_dir: str | Path | None = None,
             local_files_only: bool = False, token: Token = None) -> Path | None:
    """Folder in the hub's cache with the recogniser ``hf-hub:ORGANISATION/NAME``, downloaded unless it lies there;
    None where that is something else, a tower say.

    Raises:
        RuntimeError: It could not be downloaded; the message says why.
    """
    repository = reference.removeprefix(HUB)
    how: dict[str, Any] = dict(cache_dir=cache_dir, local_files_only=local_files_only, token=token,
                               library_name="claver-mm")
    with _errors_explained(reference, "downloaded"):
        try:
            config = Path(str(hf_hub_download(repository, CONFIG, revision=revision, **how)))
        except LocalEntryNotFoundError:  # offline, or no answer: is it a tower that was downloaded before?
            if isinstance(try_to_load_from_cache(repository, CONFIG_OF_TOWER, cache_dir, revision), str):
                return None
            raise
        except EntryNotFoundError:
            return None
        if not is_saved(config.parent):
            return None
        # of the commit that the config is of, should another be made meanwhile
        return Path(str(snapshot_download(repository, revision=config.parent.name, allow_patterns=list(ALL), **how)))


def upload(folder: Path, repository: str, *, private: bool | None = None, token: Token = None,
           commit_message: str | None = None, revision: str | None = None) -> str:
    """Put a folder on the hub in one commit, and what a recogniser before it had and it has not away; the commit's
    address.

    Raises:
        RuntimeError: It could not be uploaded; the message says why.
    """
    api = HfApi(token=token, library_name="claver-mm")
    with _errors_explained(HUB + repository, "uploaded"):
        repository = api.create_repo(repository, private=private, exist_ok=True).repo_id
        if revision is not None:
            api.create_branch(repository, branch=revision, exist_ok=True)
        return str(api.upload_folder(
            repo_id=repository, folder_path=folder, revision=revision, delete_patterns=list(ALL[1:]),
            commit_message=commit_message or "Recogniser saved by claver-mm").commit_url)


@contextmanager
def _errors_explained(reference: str, done: str) -> Iterator[None]:
    """What the hub answers, in words: its client has an error for everything, and their texts speak of URLs."""
    try:
        yield
    except GatedRepoError as error:
        raise RuntimeError(f"{reference} asks for terms to be accepted on its page first, with the account of the "
                           "token") from error
    except RevisionNotFoundError as error:
        raise RuntimeError(f"{reference} has no such revision: {_first_line(error)}") from error
    except RepositoryNotFoundError as error:
        raise RuntimeError(f"there is no {reference} at {constants.ENDPOINT}, or this token may not see it: give "
                           "token=, or log in with the command hf auth login") from error
    except LocalEntryNotFoundError as error:
        if _is_refusal(error.__cause__):  # as older clients say it
            raise RuntimeError(_refusal(reference)) from error
        why = "the hub was not asked" if constants.HF_HUB_OFFLINE else "the hub did not answer, or was not to be asked"
        raise RuntimeError(f"{reference} is not in the cache, not all of it, and could not be {done}: {why}"
                           ) from error
    except HfHubHTTPError as error:
        if _is_refusal(error):
            raise RuntimeError(_refusal(reference)) from error
        raise RuntimeError(f"{reference} could not be {done}: {_first_line(error)}") from error
    except Exception as error:  # its client has those of several libraries for one broken connection
        raise RuntimeError(f"{reference} could not be {done}: {_first_line(error)}") from error


def _is_refusal(error: BaseException | None) -> bool:
    return isinstance(error, HfHubHTTPError) and getattr(error.response, "status_code", None) in (401, 403)


def _refusal(reference: str) -> str:
    return (f"{constants.ENDPOINT} refuses the token for {reference}: give another as token=, or log in with the "
            "command hf auth login")


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
