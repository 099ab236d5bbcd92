/* The boot sector of a disk: loads what its table names and starts Linux, by the BIOS' own services alone.
 *
 * The table behind the code says which sectors of the disk go where in memory: the kernel's real-mode part, a sector
 * of its header with our answers, the command line, the kernel itself, an initial ramdisk. ``images/bios`` fills it in.
 * The disk signature and the partition table follow at 440, where nothing of ours stands.
 */

        .set    BUFFER, 0x2000          /* segment: 64 KiB that a read goes through */
        .set    KERNEL, 0x1000          /* segment of the kernel's real-mode part */
        .set    STACK, 0xe000           /* in that segment; the command line stands above */
        .set    MOST, 127               /* sectors a read: more are not sure to work */
        .set    SERIAL, 0x3f8

        .code16
        .globl  _start
_start:
        cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $_start, %sp
        sti
        cld
        ljmp    $0, $begin
begin:
        movb    %dl, drive
        movw    $table, %bp
piece:
        movl    12(%bp), %eax           /* sectors that are left */
        testl   %eax, %eax
        jz      next
        cmpl    $MOST, %eax
        jbe     read
        movl    $MOST, %eax
read:
        pushl   %eax
        movw    %ax, packet_sectors
        movl    (%bp), %ecx
        movl    %ecx, packet_lba
        movl    4(%bp), %ecx
        movl    %ecx, packet_lba + 4
        movw    $packet, %si
        movb    drive, %dl
        movb    $0x42, %ah              /* EDD: read */
        int     $0x13
        jc      failed
        movl    8(%bp), %ecx
        movw    %cx, target_low
        shrl    $16, %ecx
        movb    %cl, target_middle
        movb    %ch, target_high
        popw    %cx
        pushw   %cx
        shlw    $8, %cx                 /* sectors to words */
        movw    $descriptors, %si
        movb    $0x87, %ah              /* move a block, also above 1 MiB */
        int     $0x15
        jc      failed
        popl    %eax
        addl    %eax, (%bp)
        adcl    $0, 4(%bp)
        subl    %eax, 12(%bp)
        shll    $9, %eax
        addl    %eax, 8(%bp)
        jmp     piece
next:
        addw    $16, %bp
        cmpw    $table_end, %bp
        jb      piece

        cli
        movw    $KERNEL, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %fs
        movw    %ax, %gs
        movw    %ax, %ss
        movw    $STACK, %sp
        ljmp    $KERNEL + 0x20, $0      /* Documentation/arch/x86/boot.rst: running the kernel */

failed:
        movw    $message, %si
letter:
        lodsb
        testb   %al, %al
        jz      halt
        movw    $SERIAL, %dx
        outb    %al, %dx
        movb    $0x0e, %ah
        movw    $7, %bx
        int     $0x10
        jmp     letter
halt:
        hlt
        jmp     halt

message:
        .asciz  "\r\nimagebuilder: the disk cannot be read\r\n"
drive:
        .byte   0

        .balign 4
packet:
        .byte   16, 0
packet_sectors:
        .word   0
        .word   0, BUFFER
packet_lba:
        .long   0, 0

descriptors:
        .fill   16, 1, 0
        .word   0xffff, 0               /* from: the buffer */
        .byte   BUFFER >> 12, 0x93, 0, 0
        .word   0xffff                  /* to */
target_low:
        .word   0
target_middle:
        .byte   0, 0x93, 0
target_high:
        .byte   0
        .fill   16, 1, 0

        .org    440 - 5 * 16
table:
        .fill   5 * 16, 1, 0            /* each: first sector (8 bytes), address (4), number of sectors (4) */
table_end:
