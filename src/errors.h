/*-------------------------------------------------------------------------
 *
 * errors.h
 *		SQLSTATE class RF: the refusals of this extension.
 *
 * docs/errors.md lists them for users; a test keeps the two in step.
 *
 * IDENTIFICATION
 *		src/errors.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef REFERRAL_ERRORS_H
#define REFERRAL_ERRORS_H

#define ERRCODE_RF_NO_TRANSITION		MAKE_SQLSTATE('R','F','0','0','1')
#define ERRCODE_RF_GUARD				MAKE_SQLSTATE('R','F','0','0','2')
#define ERRCODE_RF_ROLE					MAKE_SQLSTATE('R','F','0','0','3')
#define ERRCODE_RF_APPROVAL				MAKE_SQLSTATE('R','F','0','0','4')
#define ERRCODE_RF_REASON				MAKE_SQLSTATE('R','F','0','0','5')
#define ERRCODE_RF_STALE				MAKE_SQLSTATE('R','F','0','0','6')
#define ERRCODE_RF_APPEND_ONLY			MAKE_SQLSTATE('R','F','0','0','7')
#define ERRCODE_RF_SOURCE				MAKE_SQLSTATE('R','F','0','0','9')
#define ERRCODE_RF_INVALID_CALENDAR		MAKE_SQLSTATE('R','F','0','1','0')
#define ERRCODE_RF_INVALID_RULE			MAKE_SQLSTATE('R','F','0','1','1')
#define ERRCODE_RF_NOT_DEPLOYED			MAKE_SQLSTATE('R','F','0','1','2')
#define ERRCODE_RF_DUTIES				MAKE_SQLSTATE('R','F','0','1','3')
#define ERRCODE_RF_INVALID_MESSAGE		MAKE_SQLSTATE('R','F','0','1','4')
#define ERRCODE_RF_IMMUTABLE_RULE		MAKE_SQLSTATE('R','F','0','1','6')
#define ERRCODE_RF_IDENTITY				MAKE_SQLSTATE('R','F','0','1','7')
#define ERRCODE_RF_SETTING				MAKE_SQLSTATE('R','F','0','1','8')
#define ERRCODE_RF_NO_SUCH_ROW			MAKE_SQLSTATE('R','F','0','1','9')
#define ERRCODE_RF_INVALID_ARGUMENT		MAKE_SQLSTATE('R','F','0','2','0')
#define ERRCODE_RF_UNVERIFIED			MAKE_SQLSTATE('R','F','0','2','1')
#define ERRCODE_RF_BEYOND_HORIZON		MAKE_SQLSTATE('R','F','0','2','2')
#define ERRCODE_RF_EXCEPTION			MAKE_SQLSTATE('R','F','0','2','5')

#endif							/* REFERRAL_ERRORS_H */
