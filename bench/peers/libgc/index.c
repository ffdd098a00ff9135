/* index on libgc: see docs/workloads.md. */
#include "peer.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Node Node;
typedef struct Term Term;
typedef struct Posting Posting;
typedef struct File File;

struct Node { /* trie node; children in ascending order of their label */
    Node *parent, *child, *sibling;
    Term *term;
    uint64_t label;
};

struct Term { /* word of the inverted index, with its posting list */
    Term *chain;
    Node *node;
    Posting *first, *last;
    uint8_t *text;
    uint64_t length, capacity, hash, files;
};

struct Posting { /* one term in one file */
    Term *term;
    File *file;
    Posting *prev, *next;
    uint32_t *positions;
    uint64_t count, capacity;
};

struct File {
    Posting **postings;
    uint64_t count, capacity, id, tokens;
};

typedef struct Hit Hit;
struct Hit { /* result of a query */
    Hit *next;
    File *file;
    uint64_t score;
};

typedef struct Found Found;
struct Found { /* result of a prefix query */
    Found *next;
    Term *term;
    uint8_t *text;
};

typedef struct {
    Node *root;
    Term **buckets;
    File **files;
    Posting **seen; /* by file, within one query */
    uint64_t bucket_count, file_count, terms, nodes, check;
} Index;

static char **paths; /* outside the collected heap */
static uint8_t fold[256];

static uint64_t hash_of(const uint8_t *text, uint64_t length) {
    uint64_t hash = 0xCBF29CE484222325u;
    for (uint64_t i = 0; i < length; i++)
        hash = (hash ^ text[i]) * 0x100000001B3u;
    return hash ^ hash >> 32;
}

static Term **bucket(Index *x, uint64_t hash) {
    return &x->buckets[hash & (x->bucket_count - 1)];
}

static void grow_table(Index *x) {
    Term **old = x->buckets;
    uint64_t count = x->bucket_count;
    x->buckets = GC_MALLOC(2 * count * sizeof *old);
    x->bucket_count = 2 * count;
    for (uint64_t i = 0; i < count; i++)
        for (Term *term = old[i], *next; term; term = next) {
            next = term->chain;
            Term **b = bucket(x, term->hash);
            term->chain = *b;
            *b = term;
        }
}

static Node *plant(Index *x, const uint8_t *text, uint64_t length) {
    Node *node = x->root;
    for (uint64_t i = 0; i < length; i++) {
        Node **link = &node->child;
        while (*link && (*link)->label < text[i])
            link = &(*link)->sibling;
        if (!*link || (*link)->label != text[i]) {
            Node *made = GC_MALLOC(sizeof *made);
            made->parent = node;
            made->sibling = *link;
            made->label = text[i];
            *link = made;
            x->nodes++;
        }
        node = *link;
    }
    return node;
}

static void prune(Index *x, Node *node) {
    while (node->parent && !node->term && !node->child) {
        Node *parent = node->parent, **link = &parent->child;
        while (*link != node)
            link = &(*link)->sibling;
        *link = node->sibling;
        x->nodes--;
        node = parent;
    }
}

static Term *term_of(Index *x, const uint8_t *text, uint64_t length) {
    uint64_t hash = hash_of(text, length);
    for (Term *term = *bucket(x, hash); term; term = term->chain)
        if (term->hash == hash && term->length == length && !memcmp(term->text, text, length))
            return term;
    if (x->terms == x->bucket_count)
        grow_table(x);
    uint8_t *own = GC_MALLOC_ATOMIC(length);
    memcpy(own, text, length);
    Term *term = GC_MALLOC(sizeof *term);
    term->text = own;
    term->length = term->capacity = length;
    term->hash = hash;
    Term **b = bucket(x, hash);
    term->chain = *b;
    *b = term;
    x->terms++;
    term->node = plant(x, own, length);
    term->node->term = term;
    return term;
}

static void note(File *file, Term *term) {
    Posting *p = term->last;
    if (!p || p->file != file) {
        p = GC_MALLOC(sizeof *p);
        p->term = term;
        p->file = file;
        p->prev = term->last;
        p->capacity = 4;
        p->positions = GC_MALLOC_ATOMIC(4 * sizeof *p->positions);
        if (term->last)
            term->last->next = p;
        else
            term->first = p;
        term->last = p;
        term->files++;
        if (file->count == file->capacity) {
            file->capacity = file->capacity ? 2 * file->capacity : 16;
            Posting **grown = GC_MALLOC(file->capacity * sizeof *grown);
            if (file->count)
                memcpy(grown, file->postings, file->count * sizeof *grown);
            file->postings = grown;
        }
        file->postings[file->count++] = p;
    }
    if (p->count == p->capacity) {
        uint32_t *grown = GC_MALLOC_ATOMIC(2 * p->capacity * sizeof *grown);
        memcpy(grown, p->positions, p->count * sizeof *grown);
        p->positions = grown;
        p->capacity *= 2;
    }
    p->positions[p->count++] = (uint32_t)file->tokens;
    file->tokens++;
}

static uint8_t *read_file(const char *path, uint64_t *length) {
    struct stat info;
    *length = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    uint8_t *content = NULL;
    if (fstat(fd, &info) == 0 && info.st_size > 0) {
        content = GC_MALLOC_ATOMIC(info.st_size);
        while (*length < (uint64_t)info.st_size) {
            ssize_t n = read(fd, content + *length, info.st_size - *length);
            if (n <= 0)
                break;
            *length += n;
        }
    }
    close(fd);
    return content;
}

static void add(Index *x, uint64_t id) {
    uint64_t bytes, length = 0;
    uint8_t word[32], *content = read_file(paths[id], &bytes);
    File *file = GC_MALLOC(sizeof *file);
    file->id = id;
    x->files[id] = file;
    for (uint64_t i = 0; i <= bytes; i++) {
        uint8_t b = i < bytes ? fold[content[i]] : 0;
        if (b) {
            if (length < 32)
                word[length] = b;
            length++;
            continue;
        }
        if (2 <= length && length <= 32)
            note(file, term_of(x, word, length));
        length = 0;
    }
}

static void drop(Index *x, uint64_t id) {
    File *file = x->files[id];
    x->files[id] = NULL;
    for (uint64_t i = 0; i < file->count; i++) {
        Posting *p = file->postings[i];
        Term *term = p->term;
        if (p->prev)
            p->prev->next = p->next;
        else
            term->first = p->next;
        if (p->next)
            p->next->prev = p->prev;
        else
            term->last = p->prev;
        if (--term->files == 0) {
            Term **link = bucket(x, term->hash);
            while (*link != term)
                link = &(*link)->chain;
            *link = term->chain;
            x->terms--;
            term->node->term = NULL;
            prune(x, term->node);
        }
    }
}

typedef struct { /* the ten best hits, best first */
    Hit *first;
    int count;
} Top;

static void offer(Top *t, File *file, uint64_t score) {
    Hit **link = &t->first;
    int place = 0;
    while (*link && ((*link)->score > score || ((*link)->score == score && (*link)->file->id < file->id))) {
        link = &(*link)->next;
        place++;
    }
    if (place == 10)
        return;
    Hit *hit = GC_MALLOC(sizeof *hit);
    hit->next = *link;
    hit->file = file;
    hit->score = score;
    *link = hit;
    if (++t->count > 10) {
        while ((*link)->next)
            link = &(*link)->next;
        *link = NULL;
        t->count--;
    }
}

static void answer(Index *x, Top *t) {
    for (Hit *hit = t->first; hit; hit = hit->next)
        digest_add(&x->check, hit->file->id << 32 | hit->score);
    digest_add(&x->check, t->count);
}

static void one(Index *x, Term *a) {
    Top top = {0};
    for (Posting *p = a->first; p; p = p->next)
        offer(&top, p->file, p->count);
    answer(x, &top);
}

/* Counts the positions of b that have one of a at most 8 words away. */
static uint64_t near(Posting *a, Posting *b) {
    uint64_t count = 0, i = 0;
    for (uint64_t j = 0; j < b->count; j++) {
        uint32_t at = b->positions[j];
        while (i < a->count && a->positions[i] + 8 < at)
            i++;
        if (i < a->count && a->positions[i] <= at + 8)
            count++;
    }
    return count;
}

static void both(Index *x, Term *a, Term *b, int close) {
    for (Posting *p = a->first; p; p = p->next)
        x->seen[p->file->id] = p;
    Top top = {0};
    for (Posting *p = b->first; p; p = p->next) {
        Posting *other = x->seen[p->file->id];
        if (other) {
            uint64_t score = close ? near(other, p) : p->count + other->count;
            if (score)
                offer(&top, p->file, score);
        }
    }
    for (Posting *p = a->first; p; p = p->next)
        x->seen[p->file->id] = NULL;
    answer(x, &top);
}

static uint8_t *spell(Node *node) {
    uint64_t length = 0;
    for (Node *n = node; n->parent; n = n->parent)
        length++;
    uint8_t *text = GC_MALLOC_ATOMIC(length);
    for (Node *n = node; n->parent; n = n->parent)
        text[--length] = (uint8_t)n->label;
    return text;
}

static void prefix(Index *x, Term *a) {
    Node *top = a->node;
    for (uint64_t length = a->length; length > 3; length--)
        top = top->parent;
    Found *results = NULL;
    uint64_t count = 0;
    for (Node *node = top; count < 50;) {
        if (node->term) {
            Found *found = GC_MALLOC(sizeof *found);
            found->text = spell(node);
            found->term = node->term;
            found->next = results;
            results = found;
            count++;
        }
        if (node->child) {
            node = node->child;
            continue;
        }
        while (node != top && !node->sibling)
            node = node->parent;
        if (node == top)
            break;
        node = node->sibling;
    }
    for (Found *f = results; f; f = f->next)
        digest_add(&x->check, hash_of(f->text, f->term->length) + f->term->files);
    digest_add(&x->check, count);
}

static Term *pick(Index *x, struct rng *rnd) {
    File *file = x->files[rng_below(rnd, x->file_count)];
    uint64_t choice = rng_next(rnd) >> 32;
    if (!file || !file->count)
        return NULL;
    return file->postings[choice * file->count >> 32]->term;
}

static void query(Index *x, uint64_t kind, struct rng *rnd) {
    Term *a = pick(x, rnd), *b = pick(x, rnd);
    if (!a || !b)
        digest_add(&x->check, kind);
    else if (kind == 0)
        one(x, a);
    else if (kind < 3)
        both(x, a, b, kind == 2);
    else
        prefix(x, a);
}

static void totals(Index *x) {
    uint64_t files = 0, postings = 0, tokens = 0;
    for (uint64_t i = 0; i < x->file_count; i++)
        if (x->files[i]) {
            files++;
            postings += x->files[i]->count;
            tokens += x->files[i]->tokens;
        }
    digest_add(&x->check, files);
    digest_add(&x->check, postings);
    digest_add(&x->check, tokens);
    digest_add(&x->check, x->terms);
    digest_add(&x->check, x->nodes);
}

/* The lines of a file, in memory that the collector does not see. */
static uint64_t read_lines(const char *path) {
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t room = 0;
    uint64_t count = 0, most = 0;
    ssize_t length;
    if (!f)
        fail("%s: %m", path);
    while ((length = getline(&line, &room, f)) > 0) {
        if (line[length - 1] == '\n')
            line[length - 1] = 0;
        if (count == most) {
            most = most ? 2 * most : 1024;
            paths = realloc(paths, most * sizeof *paths);
        }
        paths[count++] = strdup(line);
    }
    free(line);
    fclose(f);
    return count;
}

static void run(const struct run *r, struct outcome *o) {
    for (const char *p = "abcdefghijklmnopqrstuvwxyz0123456789_"; *p; p++)
        fold[(uint8_t)*p] = *p;
    for (int b = 'A'; b <= 'Z'; b++)
        fold[b] = b + 32;
    uint64_t n = read_lines(text(r, "list")), queries = number(r, "queries");
    Index *x = GC_MALLOC(sizeof *x);
    x->root = GC_MALLOC(sizeof *x->root);
    x->bucket_count = 1024;
    x->buckets = GC_MALLOC(1024 * sizeof *x->buckets);
    x->file_count = n;
    x->files = GC_MALLOC(n * sizeof *x->files);
    x->seen = GC_MALLOC(n * sizeof *x->seen);
    x->check = DIGEST;
    uint64_t cpu = cpu_nanos();
    for (uint64_t id = 0; id < n; id++)
        add(x, id);
    metric(o, "build_cpu_nanos", cpu_nanos() - cpu);
    totals(x);
    cpu = cpu_nanos();
    struct rng rnd = {12};
    uint64_t dropped[16], head = 0, tail = 0; /* a ring of at most 9 */
    for (uint64_t q = 0; q < queries; q++) {
        if (q % 16 == 0) {
            uint64_t id = rng_below(&rnd, n);
            int absent = !x->files[id];
            if (!absent) {
                drop(x, id);
                dropped[tail++ % 16] = id;
            }
            if (absent || tail - head > 8)
                add(x, dropped[head++ % 16]);
        }
        query(x, q % 4, &rnd);
    }
    metric(o, "serve_cpu_nanos", cpu_nanos() - cpu);
    totals(x);
    o->check = x->check;
}
WORKLOAD("index", run)
