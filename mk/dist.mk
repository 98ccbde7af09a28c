# What is published: tarball, package, image folder, checksums, install.sh, below build/dist.
.PHONY: dist
dist: all	## build/dist: tarball, .deb, image folder, checksums, install.sh (BASE_URL=address they will have)
	@tools/dist.sh build/hatchet $(shell uname -m) build/dist
