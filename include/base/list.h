/* Intrusive doubly linked list.  A node that is on no list has next == NULL. */
#ifndef BASE_LIST_H
#define BASE_LIST_H
#include "base/base.h"

struct list {
	struct list *next, *prev;
};
static inline void list_init(struct list *head)
{
	head->next = head->prev = head;
}
static inline bool list_empty(const struct list *head)
{
	return head->next == head;
}
static inline bool list_linked(const struct list *node)
{
	return node->next != NULL;
}
static inline void list_insert_after(struct list *at, struct list *node)
{
	node->next = at->next;
	node->prev = at;
	at->next->prev = node;
	at->next = node;
}
static inline void list_push_back(struct list *head, struct list *node)
{
	list_insert_after(head->prev, node);
}
static inline void list_push_front(struct list *head, struct list *node)
{
	list_insert_after(head, node);
}
static inline void list_del(struct list *node)	/* no-op when on no list */
{
	if (!node->next)
		return;
	node->prev->next = node->next;
	node->next->prev = node->prev;
	node->next = node->prev = NULL;
}
#define LIST_ENTRY(node, type, member) container_of(node, type, member)
#define LIST_FOREACH(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
/* the body may unlink or free the entry of @it */
#define LIST_FOREACH_SAFE(it, head) \
	for (struct list *it = (head)->next, *it##_next = it->next; it != (head); it = it##_next, it##_next = it->next)
#endif
