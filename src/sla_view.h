/*-------------------------------------------------------------------------
 *
 * sla_view.h
 *		The views of the service levels.
 *
 * IDENTIFICATION
 *		src/sla_view.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_SLA_VIEW_H
#define REFERRAL_SLA_VIEW_H

extern void sla_view_init(void);

#endif							/* REFERRAL_SLA_VIEW_H */
