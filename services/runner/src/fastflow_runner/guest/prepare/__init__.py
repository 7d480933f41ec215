"""Makes and removes the environments of the store. Standard library only; runs alone inside a preparer's sandbox.

It is started as a folder, ``python -I -S .../prepare``. ``steps`` makes environments, ``tree`` makes one tree,
``plain`` decides what may run foreign code, ``access`` and ``relay`` lead to packages, ``collect`` decides what to
remove and ``removal`` does it, ``layout`` is the store. The working directory is the pipeline's folder, as far as its
environment reads it.

**The store** is one directory (a named volume of the Docker daemon, a plain directory elsewhere), writable in
preparers and read-only in runs::

    envs/<key>      a link to a tree; an environment exists when this link does. Its time is that of its last use
    trees/<id>/     a virtual environment, by a random id; owned by no environment until it is linked
    python/         interpreters, as uv manages them
    cache/          uv's cache
    trash/          what nothing can be using any more, about to be deleted
    locks           one byte for each environment
    work, builds    one byte for each preparer at work

A tree is made under its final path, so nothing in it ever needs rewriting. The link is made last, in one atomic step:
an environment is never half there. Of two preparers of one key the first to link wins; the other throws its tree away.

**Who may write what.** uv runs no foreign code while it installs wheels. Building a source distribution does. So there
are three steps, each in its own sandbox:

1. ``wheels`` runs as the store's owner and installs only wheels, through the shared cache. It links its tree.
   It refuses folders whose requirements or project need more than packages from indexes (see ``plain``).
2. ``build`` runs only if a package has no wheel, as a random user id that serves this one build. ``trees`` is
   sticky and writable to all, the rest of the store is writable to its owner only. So foreign code can write the
   tree that it builds (with a cache in it that is thrown away) and nothing else. It cannot link.
3. ``link`` runs as the owner again, checks that the tree belongs to that user, and links it. By then the build's
   sandbox is gone, and its user id is never used again except to delete what it has made.

A build has no password: see ``access`` and ``relay``.

Under bubblewrap all of this is one user, so mounts do it: a run gets ``envs``, ``trees``, ``python`` and ``locks``, and
a build only ``python`` and its own tree, which ``wheels`` leaves empty for it. A build cannot lock ``builds``, so the
age of its tree protects that from the collector.

In the process sandbox all of this is one user, the same one that runs the scripts.

**No package code runs here, either**: the bare interpreter compiles site-packages (``-I -S``), and it reads neither
``.pth`` files nor ``sitecustomize``.

**The kernel knows who uses what.** The supervisor of a run holds a shared lock on its environment's byte for as long as
it lives, and an environment is unlinked only under an exclusive lock. A supervisor that locks too late finds no link
and reports it, and the environment is made again for its run. An exclusive lock needs a file that is open for writing,
and runs see the store read-only: no script can lock others out. Preparers hold bytes of files that can be opened only
for writing, so no script can hold one of those, not even shared: a collector waits only for preparers.
"""
