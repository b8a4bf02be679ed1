/* title: what ps(1) shows for a process. */
#ifndef PREFORKD_TITLE_H
#define PREFORKD_TITLE_H

/*
 * Moves argv and the environment to the heap and claims the memory where they
 * were for the title. Once, at the start of main. Returns the new argv, to be
 * freed by title_free, or NULL without memory.
 */
char **title_claim(int argc, char **argv);
void title_free(char **arguments);

/* Sets the title to "preforkd: ROLE", cut to the room there is. */
void title_set(const char *role);

#endif
