/* title: what ps(1) shows for a process. */
#ifndef PREFORKD_TITLE_H
#define PREFORKD_TITLE_H

/*
 * Claims the memory of argv and the environment for the title and moves the
 * environment elsewhere. Once, at the start of main; argv must be copied
 * before by whoever still needs it. Without memory the title stays as it is.
 */
void title_claim(int argc, char **argv);

/* Sets the title to "preforkd: ROLE", cut to the room there is. */
void title_set(const char *role);

#endif
