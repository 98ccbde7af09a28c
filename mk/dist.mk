# What is published: tarball, package, image folder, checksums, install.sh, below build/dist.
.PHONY: dist dist-arm64
dist: all	## build/dist: tarball, .deb, image folder, checksums, install.sh (BASE_URL=address they will have)
	@tools/dist.sh build/hatchet $(shell uname -m) build/dist
dist-arm64: dist build/hatchet-arm64	## the same and for 64 bit ARM too
	@tools/dist.sh build/hatchet-arm64 aarch64 build/dist
