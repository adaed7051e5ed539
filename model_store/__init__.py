"""The model store: immutable versions of pruned models, each with one manifest.

    errors        the tree of everything that can go wrong here
    manifest      the one contract between who writes a version and who reads it
    version       names of versions: UTC time and content digest
    objects       what a store lies on: named bytes, written whole or not at all
    folder        a store in a folder
    bucket        a store in a bucket: S3, GCS, Azure
    bucket_errors what a bucket's refusals mean
    registry      a store in an OCI registry
    registry_repository  the objects of one model there
    registry_artifact    a version as an artifact, and what else lies there
    registry_client      the OCI distribution API, as far as it is needed
    registry_session     requests: tried again, redirected, let in, refused
    registry_access      credentials and tokens
    location      where a store is: a path or a URL
    cache         files on this machine by digest, bounded in bytes
    cached        a store's objects through a cache, and from it while the store is away
    contents      what one listing tells of a model
    aliases       aliases as a log of changes
    store         models, versions and aliases
    publication   a version on its way into the store, manifest last
    verification  checksums of every file before anyone uses them
    signature     who vouches for a version, and whom a reader trusts
    collection    removing what a crash left behind
    retention     which versions a store may do without
    transfer      a version from one store to another
    archive       a version as one file
    wire          protocol buffers, read strictly
    onnx_messages the messages that a level's file is made of
    operators     what a level may compute, and on which shapes
    level_file    what a level's file may be, in one place
    graph         the operations of a level's file, for people
    card          a version's model card
    table         the pruning levels side by side, and the operations of one
    difference    two versions side by side
    plot          two versions as a picture
    options       what the commands share
    cli           `slimbayes models`: list, show, card, diff, history, verify
    change_cli    promote, rollback, unalias, delete, gc
    sign_cli      sign
    transfer_cli  push, pull, export, import

Layout, written by `store` and `publication` alone:

    STORE/MODEL/VERSION/LEVEL/model.onnx
    STORE/MODEL/VERSION/signature.json           where it is signed
    STORE/MODEL/VERSION/manifest.json            written last: a version exists when this does
    STORE/MODEL/aliases/ALIAS/TIME.VERSION.json  one for each change of an alias; the newest counts
"""
