// A file that has been checked is mapped without being read, also by later processes. The list of such files is
// believed only if it is whole and the user's own; whatever happens to it, files are at worst checked once more.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/image/hand_made.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define IMAGES 6

static void make_files(void) {
    Layer *base = hand_made_base(100);
    for (int i = 0; i < IMAGES; i++) {
        char name[32];
        snprintf(name, sizeof name, "%d.image", i);
        hand_save(base, hand_path(name));
    }
    pn_layer_release(base);
    base = hand_made_base(200000); // 5 MB
    hand_save(base, hand_path("large.image"));
}

// ---- In processes of their own: this one has not started the machine -------------------------------------------

static const char *image;
static bool with_bytecodes;

static int any_bytecodes(const uint8_t *bytes, size_t count, uint32_t literals, uint32_t temps, PnError *error) {
    (void)bytes, (void)count, (void)literals, (void)temps, (void)error;
    return 0;
}

static PnImageMapping map_image(void) {
    PnError error = {0};
    PnImageMapping how = {0};
    Layer *layer = NULL;
    PnImageChecks checks = {.check_bytecodes = with_bytecodes ? any_bytecodes : NULL};
    if (pn_image_map_with(image, &checks, &layer, &how, &error) != PN_OK) {
        fprintf(stderr, "%s\n", error.text);
        _exit(3);
    }
    pn_layer_release(layer);
    return how;
}

static void map_expecting_memory(void) { _exit(map_image().was_checked ? 0 : 1); }
static void map_expecting_none(void) { _exit(map_image().was_checked ? 1 : 0); }

static bool is_remembered(const char *name) {
    image = hand_path(name);
    return hand_elsewhere(map_expecting_memory);
}
static bool is_checked_anew(const char *name) {
    image = hand_path(name);
    return hand_elsewhere(map_expecting_none);
}

static const char *cache_file(void) { return hand_path("pando/checked"); }
static void forget_all(void) { unlink(cache_file()); }

// ---- Tests -----------------------------------------------------------------------------------------------------

static void later_processes_remember(void **state) {
    (void)state;
    assert_true(is_checked_anew("0.image"));
    assert_true(is_remembered("0.image"));
    assert_true(is_checked_anew("1.image")); // each file for itself
    assert_true(is_remembered("1.image"));
    assert_true(is_remembered("0.image"));
}

static void changed_file_is_checked_anew(void **state) {
    (void)state;
    assert_true(is_remembered("0.image"));
    size_t count;
    uint8_t *bytes = hand_read(hand_path("0.image"), &count);
    hand_write(hand_path("0.image"), bytes, count); // same size, same content, other times
    pn_mem_free(bytes);
    assert_true(is_checked_anew("0.image"));
    assert_true(is_remembered("0.image"));
}

static void file_checked_without_bytecodes_is_not_one_checked_with_them(void **state) {
    (void)state;
    with_bytecodes = true;
    assert_true(is_checked_anew("0.image"));
    assert_true(is_remembered("0.image"));
    with_bytecodes = false;
    assert_true(is_remembered("0.image"));
}

static void damaged_list_is_no_list(void **state) {
    (void)state;
    forget_all();
    assert_true(is_checked_anew("0.image"));
    size_t count;
    uint8_t *text = hand_read(cache_file(), &count);
    assert_true(count > 2);
    const size_t span = count > 2 ? count - 2 : 1;
    uint64_t seed = 99;
    for (int i = 0; i < 6; i++) {
        size_t at = 1 + pn_random(&seed) % span;
        text[at] ^= 1;
        hand_write(cache_file(), text, count);
        assert_true(is_checked_anew("0.image"));
        assert_true(is_remembered("0.image")); // noted behind the damage
        text[at] ^= 1;
    }
    hand_write(cache_file(), text, count / 2); // cut off
    assert_true(is_checked_anew("0.image"));
    assert_true(is_remembered("0.image"));
    pn_mem_free(text);
    uint8_t zeros[5000] = {0};
    hand_write(cache_file(), zeros, sizeof zeros);
    assert_true(is_checked_anew("0.image"));
    assert_true(is_remembered("0.image"));
}

static void list_that_others_may_write_is_not_believed(void **state) {
    (void)state;
    forget_all();
    assert_true(is_checked_anew("0.image"));
    assert_true(is_remembered("0.image"));
    assert_int_equal(chmod(cache_file(), 0666), 0);
    assert_true(is_checked_anew("0.image"));
    assert_int_equal(chmod(cache_file(), 0620), 0);
    assert_true(is_checked_anew("0.image"));
    assert_int_equal(chmod(cache_file(), 0600), 0);
    assert_true(is_remembered("0.image"));
    const char *elsewhere = hand_path("elsewhere");
    assert_int_equal(rename(cache_file(), elsewhere), 0);
    assert_int_equal(symlink(elsewhere, cache_file()), 0);
    assert_true(is_checked_anew("0.image"));
    forget_all();
}

static void list_that_cannot_be_written_is_done_without(void **state) {
    (void)state;
    forget_all();
    assert_int_equal(mkdir(cache_file(), 0700), 0);
    assert_true(is_checked_anew("0.image"));
    assert_true(is_checked_anew("0.image"));
    assert_int_equal(rmdir(cache_file()), 0);
    assert_int_equal(mkfifo(cache_file(), 0600), 0); // must not wait for a writer
    assert_true(is_checked_anew("0.image"));
    assert_int_equal(unlink(cache_file()), 0);
    setenv("XDG_CACHE_HOME", "not/absolute", 1);
    const char *before = getenv("HOME");
    char *home = strdup(before != NULL ? before : "/");
    assert_non_null(home);
    setenv("HOME", hand_directory, 1);
    assert_true(is_checked_anew("0.image"));
    assert_int_equal(access(hand_path(".cache/pando/checked"), F_OK), 0);
    assert_true(is_remembered("0.image"));
    unsetenv("HOME");
    assert_true(is_checked_anew("0.image"));
    setenv("HOME", home, 1);
    free(home);
    setenv("XDG_CACHE_HOME", hand_directory, 1);
}

static void long_list_is_shortened(void **state) {
    (void)state;
    forget_all();
    assert_true(is_checked_anew("1.image"));
    size_t count;
    uint8_t *line = hand_read(cache_file(), &count), *many = pn_mem_alloc(1 << 20);
    size_t filled = 0;
    uint8_t *old = pn_mem_alloc(count);
    memcpy(old, line, count);
    old[5] ^= 1; // some other file's
    for (; filled + count <= 40000; filled += count) memcpy(many + filled, old, count);
    hand_write(cache_file(), many, filled);
    assert_true(is_checked_anew("0.image"));
    struct stat s;
    assert_int_equal(stat(cache_file(), &s), 0);
    assert_true(s.st_size < 20000);
    assert_true(is_remembered("0.image"));
    assert_int_equal(s.st_mode & 0777, 0600);
    pn_mem_free(line);
    pn_mem_free(many);
    pn_mem_free(old);
}

static void processes_at_once_all_leave_their_line(void **state) {
    (void)state;
    forget_all();
    pid_t children[IMAGES];
    for (int i = 0; i < IMAGES; i++) {
        fflush(NULL);
        children[i] = fork();
        if (children[i] != 0) continue;
        char name[32];
        snprintf(name, sizeof name, "%d.image", i);
        image = hand_path(name);
        PnError error;
        if (pn_process_init(&error) != PN_OK) _exit(2);
        map_image();
        _exit(0);
    }
    for (int i = 0; i < IMAGES; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    for (int i = 0; i < IMAGES; i++) {
        char name[32];
        snprintf(name, sizeof name, "%d.image", i);
        assert_true(is_remembered(name));
    }
}

// Pages of the contents that were touched show as faults of this process.
static long faults_of_mapping(void) {
    struct rusage before, after;
    map_image(); // code and tables that are used for the first time
    getrusage(RUSAGE_SELF, &before);
    bool remembered = map_image().was_checked;
    getrusage(RUSAGE_SELF, &after);
    return remembered ? after.ru_minflt - before.ru_minflt + after.ru_majflt - before.ru_majflt : 1 << 20;
}

static void large_files_are_not_read(void **state) {
    (void)state;
    int channel[2];
    assert_int_equal(pipe(channel), 0);
    static const char *const names[] = {"0.image", "large.image"};
    long faults[2] = {0};
    for (int i = 0; i < 2; i++) {
        image = hand_path(names[i]);
        fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            PnError error;
            if (pn_process_init(&error) != PN_OK) _exit(2);
            long count = faults_of_mapping();
            _exit(write(channel[1], &count, sizeof count) == sizeof count ? 0 : 3);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        assert_int_equal(read(channel[0], &faults[i], sizeof faults[i]), sizeof faults[i]);
    }
    close(channel[0]);
    close(channel[1]);
    // 5 MB are 1,200 pages.
    if (faults[1] > faults[0] + 64) fail_msg("%ld faults for a small file, %ld for a large one", faults[0], faults[1]);
}

// ---- Threads: these start the machine in this process, so they come last ---------------------------------------

static void *map_and_release(void *unused) {
    (void)unused;
    for (int i = 0; i < 100; i++) map_image();
    return NULL;
}

static void threads_share_one_layer(void **state) {
    (void)state;
    PnError error = {0};
    assert_int_equal(pn_process_init(&error), PN_OK);
    image = hand_path("2.image");
    pthread_t threads[4];
    for (size_t i = 0; i < PN_COUNT_OF(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, map_and_release, NULL), 0);
    for (size_t i = 0; i < PN_COUNT_OF(threads); i++) pthread_join(threads[i], NULL);
    PnImageMapping how = map_image();
    assert_false(how.was_mapped || how.relocated); // all of them have let it go
}

int main(void) {
    if (!hand_make_directory() || !hand_elsewhere(make_files)) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later_processes_remember),
        cmocka_unit_test(changed_file_is_checked_anew),
        cmocka_unit_test(file_checked_without_bytecodes_is_not_one_checked_with_them),
        cmocka_unit_test(damaged_list_is_no_list),
        cmocka_unit_test(list_that_others_may_write_is_not_believed),
        cmocka_unit_test(list_that_cannot_be_written_is_done_without),
        cmocka_unit_test(long_list_is_shortened),
        cmocka_unit_test(processes_at_once_all_leave_their_line),
        cmocka_unit_test(large_files_are_not_read),
        cmocka_unit_test(threads_share_one_layer),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hand_remove_directory();
    return failed;
}
