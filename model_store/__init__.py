"""The model store: immutable versions of pruned models, each with one manifest.

    errors        the tree of everything that can go wrong here
    manifest      the one contract between who writes a version and who reads it
    version       names of versions: UTC time and content digest
    store         models, versions and aliases on a file system; atomic publish
    verification  checksums of every file before anyone uses it
    collection    removing what a crash left behind
    graph         the operations of a level's file
    table         the pruning levels side by side, and the operations of one
    cli           `slimbayes models`

Layout, written by `store` alone:

    STORE/MODEL/VERSION/LEVEL/model.onnx
    STORE/MODEL/VERSION/manifest.json      written last: a version exists when this does
    STORE/MODEL/aliases.json               replaced atomically
"""
