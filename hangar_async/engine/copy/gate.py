"""The admission of images: referrers that they must have, and a program that judges them, before their tag is put."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable

from hangar_async.config.gates import Gate
from hangar_async.config.target_options import MirrorOptions
from hangar_async.config.variables import NotedVariables
from hangar_async.errors import NotAdmitted
from hangar_async.mirrorlist import MirrorEntry
from hangar_async.oci import Digest, Image
from hangar_async.processes import run_program

#: The programs that run at the same time.
_AT_ONCE = 4
#: Variables that a program does not get: the passwords of this one.
_SECRETS = frozenset({"SOURCE_PASSWORD", "DEST_PASSWORD"})
#: Characters of the last line of a program that a message shows.
_MOST_SHOWN = 300


class Admissions:
    """The admission of the images of a run."""

    def __init__(self, options: MirrorOptions) -> None:
        self._gate = options.gate
        self._required = tuple(options.required_referrers)
        variables = options.environment.variables
        # A gate has all of them: they are no values of the job file, which are hidden.
        variables = variables.unread if isinstance(variables, NotedVariables) else variables
        self._variables = {name: value for name, value in variables.items() if name not in _SECRETS}
        self._places = asyncio.Semaphore(_AT_ONCE)

    @property
    def needs_target(self) -> bool:
        """True when an image must stand at its target under its digest before it is judged."""
        return self._gate is not None and self._gate.needs_target

    @property
    def is_open(self) -> bool:
        """True when all images are let in."""
        return self._gate is None and not self._required

    def check(self, entry: MirrorEntry, image: Image, referrers: Iterable[Image], notes: Iterable[str] = ()) -> None:
        """Raise NotAdmitted for an image that lacks referrers of a required type; `notes` tell why some are missing.

        They must be of the image itself, or of each of its platforms. So it is for an image without a tag, which would
        be at its target before a gate reads it there.
        """
        if self.needs_target and entry.target.tag is None:
            raise NotAdmitted(
                f"{entry.source} has no tag, so it would be at its target before its gate reads it there",
                advice="give it a tag, or let the gate read {source}",
            )
        if not self._required:
            return
        found = {(one.attachment.subject, one.attachment.artifact_type) for one in referrers if one.attachment}
        for required in self._required:
            subjects = {subject for subject, artifact_type in found if artifact_type == required}
            if not _has_subject(image, subjects):
                why = "".join(f"; {note}" for note in notes)
                raise NotAdmitted(
                    f"{image.reference} has no referrer of the type {required}{why}",
                    advice="sign it at its source, or leave this type out of `require`",
                )

    async def judge(self, entry: MirrorEntry, digest: Digest) -> None:
        """Run the gate for an image whose content is at its target; raises NotAdmitted."""
        if self._gate is None:
            return
        values = {
            "source": entry.source.name,
            "destination": entry.target.name,
            "digest": str(digest),
            "tag": entry.target.tag or "",
        }
        async with self._places:
            await self._run(self._gate, self._gate.command(values), f"{entry.source.name}@{digest}")

    async def _run(self, gate: Gate, command: list[str], subject: str) -> None:
        program = gate.shown(command[0])
        try:
            status, output = await run_program(command, gate.seconds, environ=self._variables, with_errors=True)
        except TimeoutError:
            raise NotAdmitted(
                f"the gate {program} did not judge {subject} within {gate.seconds:g} seconds",
                advice="see why it hangs, or give it more time with `timeout`",
            ) from None
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise NotAdmitted(
                f"the gate {program} cannot be run: {why}", advice="install it, or correct its path"
            ) from error
        if status == 0:
            return
        lines = [line for line in output.decode(errors="replace").splitlines() if line.strip()]
        said = " ".join(gate.shown(lines[-1]).split())[:_MOST_SHOWN] if lines else ""
        ended = (
            f"ended with status {status}"
            if status is not None and status >= 0
            else f"was ended by signal {-(status or 0)}"
        )
        raise NotAdmitted(
            f"the gate {program} refuses {subject}: it {ended}{f': {said}' if said else ''}",
            advice="run its command by hand to see more",
        )


def _has_subject(image: Image, subjects: Collection[Digest]) -> bool:
    """Tell whether an image, or each of its platforms, is one of the subjects."""
    if image.original in subjects or image.digest in subjects:
        return True
    return bool(image.platforms) and all(one.descriptor.digest in subjects for one in image.platforms)
