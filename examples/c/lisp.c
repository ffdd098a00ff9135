/* A small Lisp on mallocgc.h: numbers, symbols, pairs, closures.
 *
 *     cc lisp.c $(pkg-config --cflags --libs mallocgc) -o lisp
 *     ./lisp '(define (fac n) (if (< n 2) n (* n (fac (- n 1))))) (print (fac 10))'
 *
 * Everything it has to tell the heap is between the two marks. Its own references lie in variables
 * of C, wherever they like: the heap scans this thread's stack at each boundary.
 */

#include <ctype.h>
#include <mallocgc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { NUMBER, SYMBOL, PAIR, CLOSURE, PRIMITIVE };

typedef struct value value;
typedef value *primitive(value *arguments);

struct value {
    enum kind kind;
    union {
        long number;
        char name[24];
        primitive *run;
        /* Of a pair the first two; of a closure parameters, body and environment. */
        struct { value *first, *rest, *environment; };
    };
};

static value *globals, *symbols;
static void die(const char *why);

/* heap glue */
static mallocgc_heap *heap;
static mallocgc_mutator *mutator;
static mallocgc_site *node, *leaf;

static void ok(mallocgc_error error) {
    if (error != MALLOCGC_ERROR_NONE) die(mallocgc_error_text(error));
}

static void visit_globals(mallocgc_visitor *visitor, void *data) {
    (void)data;
    mallocgc_visit(visitor, globals);
    mallocgc_visit(visitor, symbols);
}

static void open_heap(const void *stack_base) {
    uint64_t id, references = 0xe; /* three of four words */
    const mallocgc_layout *layout;
    mallocgc_config config;
    ok(mallocgc_config_init(&config));
    config.min_heap_bytes = 1 << 20;
    config.heap_limit_bytes = 64 << 20;
    ok(mallocgc_heap_new(&config, &heap));
    ok(mallocgc_attach(heap, &mutator));
    ok(mallocgc_layout_mask(heap, 4, &references, &layout));
    ok(mallocgc_site_new(mutator, layout, sizeof(value), &node));
    ok(mallocgc_site_new(mutator, NULL, sizeof(value), &leaf));
    ok(mallocgc_roots_add(heap, visit_globals, NULL, &id));
    ok(mallocgc_scan_own_stack(mutator, stack_base));
}

static void close_heap(void) {
    mallocgc_site_free(node);
    mallocgc_site_free(leaf);
    ok(mallocgc_detach(mutator));
    mallocgc_heap_free(heap);
}

static value *make(enum kind kind) {
    mallocgc_site *site = kind == PAIR || kind == CLOSURE ? node : leaf;
    ok(mallocgc_fast_poll(mutator));
    value *made = mallocgc_fast_alloc(mutator, site);
    if (!made) {
        ok(mallocgc_gc(mutator, MALLOCGC_FORCE_NOW_AND_SWEEP));
        made = mallocgc_fast_alloc(mutator, site);
    }
    if (!made) die(mallocgc_error_text(mallocgc_last_error()));
    made->kind = kind;
    return made;
}

static void set(value **slot, value *to) { mallocgc_fast_write(mutator, (void **)slot, to); }
/* end of heap glue */

static void die(const char *why) {
    fprintf(stderr, "lisp: %s\n", why);
    exit(1);
}

static value *number(long n) {
    value *made = make(NUMBER);
    made->number = n;
    return made;
}

static value *cons(value *first, value *rest) {
    value *made = make(PAIR);
    set(&made->first, first);
    set(&made->rest, rest);
    return made;
}

static value *pair(value *v) {
    if (!v || v->kind != PAIR) die("not a pair");
    return v;
}

static value *first(value *v) { return pair(v)->first; }
static value *rest(value *v) { return pair(v)->rest; }
static value *second(value *v) { return first(rest(v)); }

static long integer(value *v) {
    if (!v || v->kind != NUMBER) die("not a number");
    return v->number;
}

static value *intern(const char *name, size_t length) {
    if (length >= sizeof ((value *)0)->name) die("a name is too long");
    for (value *at = symbols; at; at = at->rest)
        if (strlen(at->first->name) == length && !memcmp(at->first->name, name, length)) return at->first;
    value *symbol = make(SYMBOL);
    memcpy(symbol->name, name, length);
    symbols = cons(symbol, symbols);
    return symbol;
}

static value *read_list(const char **text);

static value *read(const char **text) {
    while (isspace((unsigned char)**text)) ++*text;
    if (**text == '(') return ++*text, read_list(text);
    const char *start = *text;
    while (**text && !isspace((unsigned char)**text) && !strchr("()", **text)) ++*text;
    if (*text == start) die("something is missing");
    char *end;
    long n = strtol(start, &end, 10);
    return end == *text ? number(n) : intern(start, (size_t)(*text - start));
}

static value *read_list(const char **text) {
    while (isspace((unsigned char)**text)) ++*text;
    if (**text == ')') return ++*text, NULL;
    value *head = read(text);
    return cons(head, read_list(text));
}

static value *binding(value *symbol, value *environment) {
    for (value *at = environment; at; at = at->rest)
        if (at->first->first == symbol) return at->first;
    for (value *at = globals; at; at = at->rest)
        if (at->first->first == symbol) return at->first;
    return NULL;
}

static void define(value *symbol, value *to) {
    value *known = binding(symbol, NULL);
    if (known) set(&known->rest, to);
    else globals = cons(cons(symbol, to), globals);
}

static int is(value *symbol, const char *name) { return !strcmp(symbol->name, name); }
static value *eval(value *form, value *environment);

static value *eval_all(value *forms, value *environment) {
    if (!forms) return NULL;
    value *head = eval(first(forms), environment);
    return cons(head, eval_all(rest(forms), environment));
}

static value *lambda(value *parameters, value *body, value *environment) {
    value *made = make(CLOSURE);
    set(&made->first, parameters);
    set(&made->rest, body);
    set(&made->environment, environment);
    return made;
}

static value *eval(value *form, value *environment) {
    for (;;) {
        if (!form || form->kind == NUMBER) return form;
        if (form->kind == SYMBOL) {
            value *found = binding(form, environment);
            if (!found) die(form->name);
            return found->rest;
        }
        value *head = first(form), *arguments = rest(form);
        if (head && head->kind == SYMBOL) {
            if (is(head, "quote")) return first(arguments);
            if (is(head, "lambda")) return lambda(first(arguments), second(arguments), environment);
            if (is(head, "if")) {
                value *test = eval(first(arguments), environment);
                int no = !test || (test->kind == NUMBER && !test->number);
                form = no ? second(rest(arguments)) : second(arguments);
                continue;
            }
            if (is(head, "define")) {
                value *what = first(arguments);
                if (what->kind == PAIR)
                    define(first(what), lambda(rest(what), second(arguments), NULL));
                else
                    define(what, eval(second(arguments), environment));
                return NULL;
            }
        }
        value *function = eval(head, environment);
        arguments = eval_all(arguments, environment);
        if (function && function->kind == PRIMITIVE) return function->run(arguments);
        if (!function || function->kind != CLOSURE) die("not a function");
        environment = function->environment;
        for (value *at = function->first; at; at = at->rest, arguments = rest(arguments))
            environment = cons(cons(at->first, first(arguments)), environment);
        form = function->rest;
    }
}

static void print(value *v) {
    if (!v) printf("()");
    else if (v->kind == NUMBER) printf("%ld", v->number);
    else if (v->kind == SYMBOL) printf("%s", v->name);
    else if (v->kind != PAIR) printf("<function>");
    else {
        for (const char *before = "("; v; v = rest(v), before = " ") printf("%s", before), print(first(v));
        printf(")");
    }
}

static value *add(value *a) { return number(integer(first(a)) + integer(second(a))); }
static value *subtract(value *a) { return number(integer(first(a)) - integer(second(a))); }
static value *multiply(value *a) { return number(integer(first(a)) * integer(second(a))); }
static value *less(value *a) { return number(integer(first(a)) < integer(second(a))); }
static value *car(value *a) { return first(first(a)); }
static value *cdr(value *a) { return rest(first(a)); }
static value *make_pair(value *a) { return cons(first(a), second(a)); }
static value *is_null(value *a) { return number(!first(a)); }
static value *show(value *a) { return print(first(a)), puts(""), NULL; }

static void run(const char *text) {
    static const struct { const char *name; primitive *run; } known[] = {
        {"+", add}, {"-", subtract}, {"*", multiply}, {"<", less}, {"car", car},
        {"cdr", cdr}, {"cons", make_pair}, {"null?", is_null}, {"print", show},
    };
    for (size_t at = 0; at < sizeof known / sizeof *known; at++) {
        value *function = make(PRIMITIVE);
        function->run = known[at].run;
        define(intern(known[at].name, strlen(known[at].name)), function);
    }
    for (;;) {
        while (isspace((unsigned char)*text)) text++;
        if (!*text) return;
        eval(read(&text), NULL);
    }
}

int main(int count, char **arguments) {
    int base;
    if (count != 2) die("one argument, please: the program");
    open_heap(&base);
    run(arguments[1]);
    close_heap();
    return 0;
}
