# The load driver and `make bench`.
DRIVER_SRCS := $(wildcard bench/driver/*.c)
build/bench/driver: $(DRIVER_SRCS:%.c=build/rel/%.o) build/rel/lib.a
	@mkdir -p $(@D)
	@echo '  LD $@'; $(CC) $(CFLAGS_rel) $(LDFLAGS_rel) -o $@ $^ $(LIBS)
