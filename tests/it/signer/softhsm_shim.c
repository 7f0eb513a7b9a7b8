/* A PKCS #11 module that hands every call to SoftHSM, and
 *   - writes a line for each login to the file $SHIM_LOG,
 *   - adds the flags $SHIM_TOKEN_FLAGS to those of every token,
 *   - while the file $SHIM_WAS_RESET exists, says that no token counts wrong PINs,
 *   - never returns from the call $SHIM_HANGS_IN (`load`, `initialize`, `login` or `sign`),
 *   - generates keys that want a login for each signature if $SHIM_ALWAYS_AUTHENTICATE is set.
 * The list of functions is that of PKCS #11 v2.40, which newer versions keep as it is. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned long number;
typedef struct { number type; void *value; number length; } attribute;
typedef struct { unsigned char version[2]; void *function[68]; } functions;
typedef struct { unsigned char text[96]; number flags; } token_info;

enum { INITIALIZE = 0, GET_TOKEN_INFO = 6, LOGIN = 18, SIGN = 43, GENERATE_KEY_PAIR = 59 };
enum { CKF_USER_PIN_COUNT_LOW = 0x10000, CKA_ALWAYS_AUTHENTICATE = 0x202 };
enum { MAX_ATTRIBUTES = 32, CKR_GENERAL_ERROR = 5 };

static functions real, shim;

static void may_hang_in(const char *call) {
    const char *hanging = getenv("SHIM_HANGS_IN");
    while (hanging && strcmp(hanging, call) == 0) pause();
}

__attribute__((constructor)) static void load(void) { may_hang_in("load"); }

static number initialize(void *arguments) {
    may_hang_in("initialize");
    return ((number (*)(void *))real.function[INITIALIZE])(arguments);
}

static number sign(number session, void *data, number length, void *signature, number *signature_length) {
    may_hang_in("sign");
    return ((number (*)(number, void *, number, void *, number *))real.function[SIGN])(session, data, length, signature,
                                                                                   signature_length);
}

static number get_token_info(number slot, token_info *info) {
    number rv = ((number (*)(number, token_info *))real.function[GET_TOKEN_INFO])(slot, info);
    const char *flags = getenv("SHIM_TOKEN_FLAGS");
    const char *reset = getenv("SHIM_WAS_RESET");
    if (rv == 0 && flags) info->flags |= strtoul(flags, NULL, 16);
    if (rv == 0 && reset && access(reset, F_OK) == 0) info->flags &= ~(number)CKF_USER_PIN_COUNT_LOW;
    return rv;
}

static number login(number session, number user, void *pin, number length) {
    may_hang_in("login");
    const char *path = getenv("SHIM_LOG");
    FILE *log = path ? fopen(path, "a") : NULL;
    if (log) {
        fprintf(log, "login\n");
        fclose(log);
    }
    return ((number (*)(number, number, void *, number))real.function[LOGIN])(session, user, pin, length);
}

static number generate_key_pair(number session, void *mechanism, attribute *public, number public_count,
                                attribute *private, number private_count, number *one, number *other) {
    static unsigned char yes = 1;
    attribute more[MAX_ATTRIBUTES];
    if (getenv("SHIM_ALWAYS_AUTHENTICATE") && private_count < MAX_ATTRIBUTES) {
        memcpy(more, private, private_count * sizeof *more);
        more[private_count++] = (attribute){ CKA_ALWAYS_AUTHENTICATE, &yes, 1 };
        private = more;
    }
    return ((number (*)(number, void *, attribute *, number, attribute *, number, number *, number *))
                real.function[GENERATE_KEY_PAIR])(session, mechanism, public, public_count, private,
                                                  private_count, one, other);
}

number C_GetFunctionList(functions **list) {
    void *module = dlopen(getenv("SHIM_MODULE"), RTLD_NOW | RTLD_LOCAL);
    number (*get)(functions **) = module ? (number (*)(functions **))dlsym(module, "C_GetFunctionList") : NULL;
    functions *found;
    if (!get || get(&found) != 0) return CKR_GENERAL_ERROR;
    real = shim = *found;
    shim.function[3] = (void *)C_GetFunctionList;
    shim.function[INITIALIZE] = (void *)initialize;
    shim.function[SIGN] = (void *)sign;
    shim.function[GET_TOKEN_INFO] = (void *)get_token_info;
    shim.function[LOGIN] = (void *)login;
    shim.function[GENERATE_KEY_PAIR] = (void *)generate_key_pair;
    *list = &shim;
    return 0;
}
