"""Makes and takes away the environments of the store. Runs inside a preparer's sandbox, alone: standard library only,
started as a folder, ``python -I -S .../prepare``. ``steps`` makes, ``collect`` takes away, ``layout`` is the store.

**The store** is one directory (a named volume of the Docker daemon, a plain directory of the process sandbox),
writable in preparers and read-only in runs::

    envs/<key>      a link to a tree; an environment exists when this link does. Its time is that of its last use
    trees/<id>/     a virtual environment, by a random id; anybody's until it is linked
    python/         interpreters, as uv manages them
    cache/          uv's cache
    trash/          what nobody can be using any more, about to be deleted
    locks           one byte for each environment, and one for all who are at work

A tree is made under its own, final path, so nothing in it ever has to be rewritten, and the link is made last and
at once: there is no half an environment. Of two preparers of one key the first to link wins; the other throws its
tree away.

**Who may write what.** uv itself runs no foreign code as long as it installs wheels. Building a source
distribution does. Hence three steps, each in a sandbox of its own:

1. ``wheels`` runs as the store's owner and installs wheels only, by way of the shared cache. It links its tree.
   Requirements that name more than packages and indexes (see ``steps.plain``) are none of its business.
2. ``build``, only if a package has no wheel, runs as a user id drawn at random for this one build. ``trees`` is
   sticky and writable to all, the rest of the store is writable to its owner only. So foreign code can write the
   tree it is building, in that a cache of its own that is thrown away, and nothing else. It cannot link.
3. ``link`` runs as the owner again, checks that the tree belongs to that user, and links it. By then the build's
   sandbox is gone, and its user id is never used again but to delete what it has made.

In the process sandbox all of this is one and the same user, as is everything that the scripts themselves do.

**No package code runs here, either**: site-packages is compiled by the bare interpreter (``-I -S``), which reads
neither ``.pth`` files nor ``sitecustomize``.

**Who is using what** the kernel knows: the supervisor of a run holds a shared lock on its environment's byte for as
long as it lives, and an environment is unlinked only under an exclusive one. A supervisor that locks too late finds no
link, says so, and its run gets the environment made anew. An exclusive lock needs a file that is open for writing, and
runs see the store read-only: no script can lock anybody out.
"""
