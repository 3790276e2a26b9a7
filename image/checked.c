// image/checked.c: opening image files, and remembering which of them have been checked (I2).
//
// Owns: the process's table of checked identities, and the user's file of them, $XDG_CACHE_HOME/pando/checked or
// ~/.cache/pando/checked. That file holds a line for each checked image; a line counts only as a whole, byte for
// byte, so a damaged one is the same as none. It is believed only if it is the user's own and nobody else may write
// it. Lines are appended with one write each; a file grown beyond CACHE_BYTES is written anew beside it, with its
// younger half, and renamed. Two processes that do so at once may lose lines: then an image is checked once more.
#define _GNU_SOURCE // memmem, mkostemp
#include "image/image_int.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CACHE_BYTES ((size_t)32 << 10)
#define LINE_BYTES 256

// ---- Files -----------------------------------------------------------------------------------------------------

static ImageIdentity identity_of(const struct stat *s, uint64_t sum) {
    return (ImageIdentity){
        .device = s->st_dev,
        .inode = s->st_ino,
        .bytes = (uint64_t)s->st_size,
        .modified_seconds = s->st_mtim.tv_sec,
        .modified_nanoseconds = s->st_mtim.tv_nsec,
        .changed_seconds = s->st_ctim.tv_sec,
        .changed_nanoseconds = s->st_ctim.tv_nsec,
        .sum = sum,
    };
}

static bool identity_same(const ImageIdentity *a, const ImageIdentity *b) { return memcmp(a, b, sizeof *a) == 0; }

static PnStatus read_header(ImageFile *file, PnError *error) {
    struct stat s;
    if (fstat(file->fd, &s) != 0) return pn_error(error, PN_IO, 0, "%s: %s", file->path, strerror(errno));
    if (!S_ISREG(s.st_mode)) return pn_error(error, PN_IO, 0, "%s: not a file", file->path);
    memset(&file->header, 0, sizeof file->header);
    if (pread(file->fd, &file->header, sizeof file->header, 0) < 0)
        return pn_error(error, PN_IO, 0, "%s: %s", file->path, strerror(errno));
    PnError inner = {0};
    if (pn_image_check_header(&file->header, (uint64_t)s.st_size, &inner) != PN_OK)
        return pn_error(error, inner.status, inner.offset, "%.100s: %.130s", file->path, inner.text);
    file->identity = identity_of(&s, file->header.sum);
    return PN_OK;
}

PnStatus pn_image_open(const char *path, ImageFile *file, PnError *error) {
    file->path = path;
    file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (file->fd < 0) {
        pn_error(error, PN_IO, 0, "%s: %s", path, strerror(errno));
        return PN_IO;
    }
    if (read_header(file, error) == PN_OK) return PN_OK;
    pn_image_close(file);
    return error != NULL && error->status != PN_OK ? error->status : PN_BAD_IMAGE;
}

void pn_image_close(ImageFile *file) {
    if (file->fd >= 0) close(file->fd);
    file->fd = -1;
}

void *pn_image_contents(const ImageFile *file) {
    if (file->header.file_bytes == 0) return NULL;
    void *memory = mmap(NULL, file->header.file_bytes, PROT_READ, MAP_PRIVATE, file->fd, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

// ---- The process's table ---------------------------------------------------------------------------------------

#define CHECKED_ENTRIES 64
static struct {
    pthread_mutex_t mutex;
    size_t next; // the oldest one goes
    struct {
        ImageIdentity identity;
        bool with_bytecodes;
    } entries[CHECKED_ENTRIES];
} checked = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static bool process_remembers(const ImageIdentity *identity, bool with_bytecodes) {
    bool found = false;
    pthread_mutex_lock(&checked.mutex);
    for (size_t i = 0; i < CHECKED_ENTRIES && !found; i++)
        found = identity_same(&checked.entries[i].identity, identity) &&
                (checked.entries[i].with_bytecodes || !with_bytecodes);
    pthread_mutex_unlock(&checked.mutex);
    return found;
}

static void process_remember(const ImageIdentity *identity, bool with_bytecodes) {
    pthread_mutex_lock(&checked.mutex);
    size_t i = checked.next++ % CHECKED_ENTRIES;
    checked.entries[i].identity = *identity;
    checked.entries[i].with_bytecodes = with_bytecodes;
    pthread_mutex_unlock(&checked.mutex);
}

// ---- The user's file -------------------------------------------------------------------------------------------

// Put the name of the file into path, making its directories if so asked. False if there is no place for it.
static bool cache_path(char path[PATH_MAX], bool make_directories) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME"), *below = "";
    if (!cache || cache[0] != '/') {
        cache = home;
        below = "/.cache";
    }
    if (!cache || cache[0] != '/') return false;
    static const char *const names[] = {"", "/pando", "/pando/checked"};
    for (size_t i = 0; i < PN_COUNT_OF(names); i++) {
        int length = snprintf(path, PATH_MAX, "%s%s%s", cache, below, names[i]);
        if (length < 0 || length >= PATH_MAX) return false;
        if (make_directories && i + 1 < PN_COUNT_OF(names)) mkdir(path, 0700);
    }
    return true;
}

static bool is_trusted(int fd) {
    struct stat s;
    return fstat(fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_uid == geteuid() && (s.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

// Open the user's file; -1 if there is none, or not one to believe.
static int cache_open(const char *path, int flags) {
    int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd >= 0 && !is_trusted(fd)) {
        close(fd);
        return -1;
    }
    return fd;
}

// The line that says that a file was checked. 'b': its bytecodes as well.
static size_t cache_line(char line[LINE_BYTES], const ImageIdentity *i, bool with_bytecodes) {
    int length = snprintf(line, LINE_BYTES, "\n%d%c %llx %llx %llx %lld.%09lld %lld.%09lld %016llx.\n",
                          PN_IMAGE_VERSION, with_bytecodes ? 'b' : 'o', (unsigned long long)i->device,
                          (unsigned long long)i->inode, (unsigned long long)i->bytes, (long long)i->modified_seconds,
                          (long long)i->modified_nanoseconds, (long long)i->changed_seconds,
                          (long long)i->changed_nanoseconds, (unsigned long long)i->sum);
    return (size_t)length;
}

// Read the last CACHE_BYTES of the user's file.
static size_t cache_read(int fd, char *text) {
    off_t end = lseek(fd, 0, SEEK_END);
    off_t start = end > (off_t)CACHE_BYTES ? end - (off_t)CACHE_BYTES : 0;
    ssize_t count = end < 0 ? 0 : pread(fd, text, CACHE_BYTES, start);
    return count < 0 ? 0 : (size_t)count;
}

static bool text_has_line(const char *text, size_t count, const ImageIdentity *identity, bool with_bytecodes) {
    char line[LINE_BYTES];
    size_t length = cache_line(line, identity, with_bytecodes);
    return memmem(text, count, line, length) != NULL;
}

static bool user_remembers(const ImageIdentity *identity, bool with_bytecodes) {
    char path[PATH_MAX];
    int fd = cache_path(path, false) ? cache_open(path, O_RDONLY) : -1;
    if (fd < 0) return false;
    char text[CACHE_BYTES];
    size_t count = cache_read(fd, text);
    close(fd);
    return text_has_line(text, count, identity, true) ||
           (!with_bytecodes && text_has_line(text, count, identity, false));
}

// Replace the file at path by its younger half.
static void cache_shorten(int fd, const char *path) {
    char text[CACHE_BYTES], beside[PATH_MAX + 16];
    size_t count = cache_read(fd, text);
    snprintf(beside, sizeof beside, "%s.XXXXXX", path);
    int other = mkostemp(beside, O_CLOEXEC);
    if (other < 0) return;
    size_t half = count / 2;
    bool written = write(other, text + half, count - half) == (ssize_t)(count - half);
    if (close(other) != 0 || !written || rename(beside, path) != 0) unlink(beside);
}

// Whatever goes wrong here only means that the file is checked again some day.
static void user_remember(const ImageIdentity *identity, bool with_bytecodes) {
    char path[PATH_MAX], line[LINE_BYTES];
    int fd = cache_path(path, true) ? cache_open(path, O_RDWR | O_APPEND | O_CREAT) : -1;
    if (fd < 0) return;
    size_t length = cache_line(line, identity, with_bytecodes);
    if (write(fd, line, length) == (ssize_t)length && lseek(fd, 0, SEEK_END) > (off_t)CACHE_BYTES)
        cache_shorten(fd, path);
    close(fd);
}

bool pn_image_is_checked(const ImageFile *file, bool with_bytecodes) {
    if (process_remembers(&file->identity, with_bytecodes)) return true;
    if (!user_remembers(&file->identity, with_bytecodes)) return false;
    process_remember(&file->identity, with_bytecodes);
    return true;
}

// ---- Checking and remembering ----------------------------------------------------------------------------------

// Times of files come from a clock that advances in steps. A change in the same step as the one that made the file is
// not to be told from it, so wait (some milliseconds, and only for a file just written) until the clock is past.
// Answers false if it is not even then: the file is from the future.
static bool clock_is_past(const ImageIdentity *identity) {
    for (int attempt = 0; attempt < 8; attempt++) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME_COARSE, &now);
        if (now.tv_sec > identity->changed_seconds) return true;
        if (now.tv_sec == identity->changed_seconds && now.tv_nsec > identity->changed_nanoseconds) return true;
        nanosleep(&(struct timespec){.tv_nsec = 4000000}, NULL);
    }
    return false;
}

static PnStatus check_contents(const ImageFile *file, const PnImageChecks *checks, PnError *error) {
    void *contents = pn_image_contents(file);
    if (!contents) return pn_error(error, PN_NO_MEMORY, 0, "%s: no memory to check it", file->path);
    PnError inner = {0};
    PnStatus status = pn_image_check(contents, file->header.file_bytes, checks, &inner);
    munmap(contents, file->header.file_bytes);
    if (status == PN_OK) return PN_OK;
    return pn_error(error, status, inner.offset, "%.100s: %.130s", file->path, inner.text);
}

PnStatus pn_image_check_and_remember(const ImageFile *file, const PnImageChecks *checks, PnError *error) {
    bool is_settled = clock_is_past(&file->identity);
    PnStatus status = check_contents(file, checks, error);
    if (status != PN_OK) return status;
    struct stat s;
    if (fstat(file->fd, &s) != 0) return pn_error(error, PN_IO, 0, "%s: %s", file->path, strerror(errno));
    ImageIdentity now = identity_of(&s, file->identity.sum);
    if (!identity_same(&now, &file->identity))
        return pn_error(error, PN_BAD_IMAGE, 0, "%s: it changed while it was being checked", file->path);
    if (is_settled) {
        process_remember(&file->identity, checks->check_bytecodes != NULL);
        user_remember(&file->identity, checks->check_bytecodes != NULL);
    }
    return PN_OK;
}

PnStatus pn_image_check_file(const char *path, const PnImageChecks *checks, PnError *error) {
    ImageFile file = {0};
    PnStatus status = pn_image_open(path, &file, error);
    if (status != PN_OK) return status;
    status = check_contents(&file, checks, error);
    pn_image_close(&file);
    return status;
}
